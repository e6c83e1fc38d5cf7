"""Rules written from parts, by whoever translates another language into this one."""
