"""What a run leaves behind for an auditor: one row an artefact. Chain, signing and export are not here yet."""
