"""Launchers of clusters, Slurm and Ray: bundles as jobs that are followed from elsewhere."""
