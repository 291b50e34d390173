"""The administration: progress, results, readers, images. Every change is a form that is sent by POST."""

from study_app.web.admin import images, readers, results, slide_studies, studies
from study_app.web.admin.blueprint import blueprint

__all__ = ["blueprint", "images", "readers", "results", "slide_studies", "studies"]
