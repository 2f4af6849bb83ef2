"""Looking at videos: facts and pictures, in nobody's way."""
