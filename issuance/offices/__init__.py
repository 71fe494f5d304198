"""The tree of regions, offices, bank outlets and depots that clerks belong to."""
