"""Why each kind of problem matters, for people who see it for the first time."""

# kind: (heading, explanation)
KINDS = {
    'folder-missing': (
        'Folder missing', 'Nothing can be read from a folder that is not there.'),
}
