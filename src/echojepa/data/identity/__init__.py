"""Who is who, and who stays unknown: pseudonyms, private tables, people and their splits."""
