"""The diffusion process: schedules, objectives, solvers and the sampling loop; no network is known here."""
