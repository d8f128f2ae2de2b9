"""The page of `pixelrnn serve`: models in a browser, on this machine.

turns     one walk at a time for each model, fair between visitors
walks     a walk in a thread, streamed to a socket, stopped when the visitor leaves
requests  what a visitor may ask for, with its limits
models    the models that were named, loaded when first used
guard     sizes of bodies, hosts, origins, headers
app       the routes
static/   the page: no build step, no request to another host
"""
