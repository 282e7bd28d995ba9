"""Files, machine and process around a run; modules that know nothing about models or data sets."""
