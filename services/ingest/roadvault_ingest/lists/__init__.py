"""Lists of files, filtered, by pages."""
