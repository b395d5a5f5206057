"""Jobs, cron jobs and settings of plain arq."""
