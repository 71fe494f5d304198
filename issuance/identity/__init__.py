"""Whether the applicant is who the application says: asked of the population register, never guessed."""
