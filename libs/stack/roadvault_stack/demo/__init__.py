"""The demo: the whole main job, end to end, on real video and a running stack, with every claim checked."""
