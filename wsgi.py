"""The application for a WSGI server; `python -m service serve` runs it under gunicorn."""

from service import logs
from service.api.app import create_app
from service.settings import load_settings

settings = load_settings()
logs.configure(settings.log_level)
app = create_app(settings)
