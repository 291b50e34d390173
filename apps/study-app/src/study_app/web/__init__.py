"""The site: an application factory, and one module for each part of it."""

from study_app.web.factory import app_of, create_app

__all__ = ["app_of", "create_app"]
