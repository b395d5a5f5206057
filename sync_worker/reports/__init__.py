"""PDF reports and the templates that mails use too. The only room that knows WeasyPrint."""
