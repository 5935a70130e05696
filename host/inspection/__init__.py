"""Pictures for people: captions, heat maps, recorded attention, where a picture looks unnatural."""
