"""A drawn pipe shows who stands where, with what, and where order is kept."""

from datamover import PipeSpec, head, middle, tail
from datamover.cli.drawing import draw
from datamover.pipe.layout import lay_out


@head
def produce(port):
    pass


@middle(allocates=True)
def change(port):
    pass


@tail
def consume(port):
    pass


def test_a_pipe_is_drawn_head_first_with_shares_and_order():
    spec = PipeSpec(
        name="demo",
        stages=[
            produce.stage(share=3),
            change.stage(instances=2, share=2),
            change.stage(instances=3, share=2),
            consume.stage(),
        ],
        buffers=13,
        buffer_size=1_000_000,
    )
    drawing = draw(lay_out(spec))

    assert drawing.text.startswith(
        """\
pipe demo: 5 stages, 8 tasks

  produce   head    x1   process  share: 3 buffers, then wait  (sequencer behind it)
    ╞══ any instance
  change    middle  x2   process  share: 2 buffers each, then wait
    ╞══ back in order
  order     middle  x1   process  (inserted by the engine, resequencer before it, \
sequencer behind it)
    ╞══ any instance
  change-2  middle  x3   process  share: 2 buffers each, then wait
    ╞══ back in order
  consume   tail    x1   process  (resequencer before it)

buffers: 13 x 1.00 MB, 13 of them in shares
memory: """
    )
    assert [s["inserted"] for s in drawing.json["stages"]] == [False, False, True, False, False]
    assert drawing.json["memory"] > 13_000_000
