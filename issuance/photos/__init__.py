"""Photos (相片): checked against the profile of the issuing region, stored sealed."""
