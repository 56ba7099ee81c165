"""Records to disk and back.

Enters: Records, Claims that were checked, a `RunInfo`. Leaves: files under `results/<run-id>/`, and Records again.

- `runs`: `RunFolder` (create, open, append, records), `RunInfo`, `latest`, `run_paths`
- `cases`: what a folder holds besides records: profiles, trainings, generated texts and images
- `stored`: `StoredRun`, all that a folder holds as one value, and what could not be read
- `pytest_benchmark`: its JSON files; `expected`: counters on record
- `codec`: JSON files and their schema, old ones too; `atomic`: a file is written whole or not at all
- `kept`: counts kept in the user's cache, found again while the code is what it was
- `history/`: the index across runs

Raw values are stored; every column of a table is derived on read. Nothing here knows models or clocks.
"""
