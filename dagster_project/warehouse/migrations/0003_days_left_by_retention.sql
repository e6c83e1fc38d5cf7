-- A row of audit.expirations is of one load now, and written with what it says.

-- Event days that must be replayed: staging kept a record of the load, and left out the same one of another load.
alter table audit.expirations add column days_to_replay date[];
