"""Why each kind of problem matters, for people who see it for the first time."""

# kind: (heading, explanation)
KINDS = {
    'folder-missing': (
        'Folder missing',
        'The files are looked for in a folder that is not there. Training would stop '
        'at its start.'),
    'folder-empty': (
        'Folder empty',
        'A folder without files gives a data set without samples. MMEngine then fails '
        'with "need at least one array to concatenate".'),
    'unreadable-folder': (
        'Unreadable folder', 'The folder is there, but its files cannot be listed.'),
    'unusual-name': (
        'Unusual file name',
        'Lists and records hold one name a line, in UTF-8. A name that is none of it '
        'ends whatever has to write it.'),
    'wrong-suffix': (
        'Wrong file suffix',
        'Files are found by the end of their name. Those that end otherwise are left '
        'out without a word.'),
    'split-file-missing': (
        'Split file missing',
        'The list of the names that belong to the split is not there.'),
    'split-file-unreadable': (
        'Split file unreadable',
        'The list of names cannot be read, or is no text in UTF-8.'),
    'split-file-empty': (
        'Split file empty', 'A list without names gives a data set without samples.'),
    'split-blank-line': (
        'Blank line in a split file',
        'A blank line is taken for the name of an image that does not exist.'),
    'split-duplicate': (
        'Name twice in a split file',
        'An image that is named twice counts twice, in training and in scores.'),
    'split-names-absent': (
        'Split file names absent images',
        'Training would stop when it comes to read one of these, maybe hours after '
        'its start.'),
    'image-missing': (
        'Image missing', 'A label or a list names an image that is not there.'),
    'label-missing': (
        'Label missing',
        'Training would stop when it comes to read the label of this image.'),
    'not-understood': (
        'Not understood',
        'The check does not know how this part is read, so nothing is said of it.'),
    'classes-missing': (
        'Classes missing', 'Without names of classes no score can be told apart.'),
    'background-is-no-class': (
        'Background is no class',
        'The class that is named as the background is none of the data set.'),
    'background-unknown': (
        'Background not known',
        'The background is neither drawn nor counted nor graded. Where it is not '
        'known, sound pixels are shown as a defect.'),
    'num-classes': (
        'Number of classes',
        'The network has another number of outputs than the data set has classes. '
        'Labels beyond it end in an assertion on the GPU, or scores are wrong.'),
    'reduce-zero-label': (
        'reduce_zero_label',
        'This option makes label 0 ignored and moves all others down by one. Where it '
        'is not meant, every class is learnt under the name of another.'),
    'pad-value-is-class': (
        'Padding is trained as a class',
        'Where an image is padded, turned or cut out, its label gets this value. The '
        'network learns the canvas as a part of that class.'),
    'ignore-index-is-class': (
        'Ignore index is a class',
        'Pixels with this value are left out of the loss, and it is also the value of '
        'a class, which is then never learnt.'),
    'ignore-index-differs': (
        'Ignore index differs',
        'Padding or unlabelled pixels get a value that the loss does not leave out.'),
    'unreadable-file': ('Unreadable file', 'The file is there but cannot be read.'),
    'unchecked-file': (
        'Unchecked file', 'The check of this pair failed, so nothing is known of it.'),
    'empty-file': (
        'Empty file', 'A file of 0 bytes, mostly of a copy that was cut short.'),
    'undecodable-file': (
        'Broken file',
        'The file is no complete picture. Training would stop when it comes to it.'),
    'image-channels': (
        'Channels of an image',
        'The images come with another number of channels than the network takes.'),
    'image-16-bit': (
        '16-bit image',
        'The loader keeps 8 of 16 bits. What is in the others is lost, and images '
        'that use few of the values may turn out nearly black.'),
    'image-cmyk': (
        'CMYK image',
        'Colours for print become RGB by a rough formula and come out off.'),
    'image-alpha': (
        'Transparent image',
        'Transparency is dropped: the network sees colours that no viewer shows.'),
    'grey-among-colours': (
        'Grey among colours',
        'Most images are of the other kind. A network may learn where an image comes '
        'from, not what it shows.'),
    'exif-rotation': (
        'Rotated by EXIF',
        'A tag tells viewers to turn the image. Labels have no such tag, so that the '
        'two may lie differently.'),
    'label-jpeg': (
        'Label is a JPEG',
        'JPEG is lossy: at the edges of every area it makes values of no class.'),
    'label-one-pixel-wide': (
        'Label one pixel wide',
        'MMSegmentation drops sides of one pixel, and the training stops there.'),
    'label-16-bit': (
        '16-bit label', 'Only 8 bits are kept: 256 becomes 0, 257 becomes 1.'),
    'label-is-colours': (
        'Label in colours',
        'Labels have to hold the index of a class in each pixel. This one is loaded '
        'as a picture in colours.'),
    'label-out-of-range': (
        'Label value of no class',
        'Such a pixel ends the training in an assertion on the GPU. In scores it is '
        'left out without a word: half of an image may be wrong at 100 %.'),
    'label-all-ignored': (
        'Label all ignored', 'There is nothing to learn from such a label.'),
    'unlabelled-scored': (
        'Unlabelled images are scored',
        'A score compares predictions with labels, of which these images have none.'),
    'sampler': (
        'Batches of labelled and unlabelled images',
        'How many images of a batch are labelled decides how much the labels count '
        'beside the teacher.'),
    'loss-of-unlabelled': (
        'A loss of the labels sees unlabelled images',
        'The labels should count the same, however many images without labels lie in '
        'the batch; these are for the losses of the distillation.'),
    'palette-order': (
        'Order of the palette',
        'The colours in the file and the classes of the config have different '
        'orders. One class may be learnt under the name of another.'),
    'size-differs': (
        'Sizes differ',
        'Image and label do not lie on each other. MMSegmentation resizes or cuts '
        'without a word, and the network learns shifted edges.'),
    'no-images': ('No images', 'A data set without images cannot be trained on.'),
    'class-never-occurs': (
        'Class never occurs',
        'What is in no label cannot be learnt, and has no score. Often it shows that '
        'labels and classes are numbered differently.'),
    'one-class-and-ignored': (
        'One class and ignored pixels',
        'Where the only other value is the ignored one, a network that says the same '
        'everywhere gets 100 %.'),
    'train-test-duplicate': (
        'In train and in test',
        'A score on pictures that were trained on says nothing about new ones.'),
    'train-val-duplicate': (
        'In train and in val',
        'The best checkpoint is chosen by pictures that were trained on.'),
    'train-test-near-copy': (
        'Copy of a training image in test',
        'It was turned, mirrored or saved again; a score on it says little about new '
        'pictures.'),
    'train-val-near-copy': (
        'Copy of a training image in val',
        'It was turned, mirrored or saved again; the best checkpoint is chosen by '
        'pictures that were trained on.'),
    'duplicate': (
        'Same picture twice', 'Within a split such a picture counts twice.'),
    'duplicate-other-label': (
        'Same picture, other label',
        'One of the two labels must be wrong, or the task is not clear.'),
}
