"""The self-service machine (自助机): what a citizen sees and does at it. Imported in the profile `kiosk` alone."""
