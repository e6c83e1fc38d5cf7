"""Log records of other makers, and what their formats share."""
