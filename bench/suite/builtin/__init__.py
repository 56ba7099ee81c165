"""The suites that come with stepbench, one TOML file each."""
