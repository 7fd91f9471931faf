"""MMEngine writes every local file through this: as a whole or not at all."""

from mmengine.fileio import (
    FileClient,
    HardDiskBackend,
    LocalBackend,
    io,
    register_backend,
)

from fastsegformer_mm.engine.checkpoint.write import (
    is_torch_archive,
    pieces_with_checksum,
    replace_file,
)


class _AtomicWrites:
    """``put`` and ``put_text`` that leave the old file or the new one."""

    def put(self, obj: bytes, filepath) -> None:
        """Write bytes, those of a checkpoint with their checksum.

        Args:
            obj (bytes): The content.
            filepath (str | Path): The file to write or to replace; its folder is
                made.

        Raises:
            CheckpointWriteError: It cannot be written, as on a full disk.
        """
        # only checkpoints wait for the disk: of images there are many
        replace_file(
            filepath, pieces_with_checksum(obj), sync=is_torch_archive(obj)
        )

    def put_text(self, obj: str, filepath, encoding: str = 'utf-8') -> None:
        """Write text; arguments and errors as of :meth:`put`."""
        replace_file(filepath, [obj.encode(encoding)], sync=False)


class AtomicLocalBackend(_AtomicWrites, LocalBackend):
    """MMEngine's local files, of which a kill or a full disk leaves no halves.

    Registered under the name and for the paths of :class:`LocalBackend`, so that
    ``Runner.save_checkpoint`` comes here with any CheckpointHook and on each stack.
    """


class AtomicHardDiskBackend(_AtomicWrites, HardDiskBackend):
    """The same for ``file_client_args``, MMEngine's deprecated way to files."""


def install_atomic_writes() -> None:
    """Register both with MMEngine, in place of its own; idempotent."""
    register_backend('local', AtomicLocalBackend, force=True, prefixes='')
    FileClient.register_backend('disk', AtomicHardDiskBackend, force=True)
    # MMEngine keeps backends it has used, by path prefix; one from before would
    # go on writing in the old way
    for key, backend in list(io.backend_instances.items()):
        if type(backend) is LocalBackend:
            del io.backend_instances[key]
