"""Records to disk and back.

Enters: Records, Claims that were checked, a `RunInfo`. Leaves: files under `results/<run-id>/`, and Records again.

- `records`: `RunFolder` (create, open, append, records), `RunInfo`, `latest`, `run_paths`
- `tables`: `to_frame`, `write_tables`, `COLUMNS`; imports pandas, so import it only where a table is written
- `training`: what `bench train` leaves, and its checkpoint
- `migrate`: old record files stay readable
- `atomic`: a file is written whole or not at all

Raw values are stored; every column of a table is derived on read. This room knows nothing of models, clocks or reports.
"""
