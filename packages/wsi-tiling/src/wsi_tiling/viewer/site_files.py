"""OpenSeadragon and the scripts round it, as a part of a Flask site."""

from flask import Blueprint

viewer_files = Blueprint("viewer", __name__, static_folder="static", static_url_path="/static/viewer")
"""Serves the files under /static/viewer/, so that the site's own scripts import them from './viewer/'."""
