"""Three stages as four processes around one pool of buffers: run me with Python."""

from datamover import PipeSpec, head, middle, run, tail


@head
def hello(port):
    buffer = port.alloc()
    buffer.data[:5], buffer.used = b"hello", 5
    port.send(buffer)


@middle
def upper(port):
    for buffer in port.incoming():
        buffer.payload[:] = bytes(buffer.payload).upper()
        port.send(buffer)


@tail
def show(port):
    for buffer in port.incoming():
        print(bytes(buffer.payload).decode())
        port.free(buffer)


if __name__ == "__main__":
    run(PipeSpec(name="example", stages=[hello.stage(), upper.stage(instances=2), show.stage()]))
