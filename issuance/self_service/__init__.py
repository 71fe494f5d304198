"""What a citizen does at a kiosk: shown, decided and recorded by the centre on the evidence the kiosk saw."""
