"""The demo: real payments through the whole path, each thing shown and each thing checked."""
