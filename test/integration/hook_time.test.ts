import { type ConnectionHandlers, custom, lines, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const frames = 200
const numbered = Array.from({ length: frames }, (_, i) => String(i))

/** A hook that takes its time, however quick the machine is. */
function take(ms: number): void {
  for (const until = performance.now() + ms; performance.now() < until; );
}

describe('the hooks of one batch', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  /**
   * One peer's input costs a long time; another one speaks in the middle of it: `bystander` writes without waiting for a turn. How many steps of the
   * first had run when the second was heard, and all of them in the end. `warmUp`: what the first says before, and is answered with a line.
   */
  async function overtaken(
    input: string | Buffer,
    handlers: (step: (what: string) => void) => ConnectionHandlers<undefined>,
    done: (steps: string[]) => boolean,
    warmUp = '',
  ): Promise<{ before: number; steps: string[] }> {
    await using reactor = new Reactor()
    const steps: string[] = []
    let before = -1
    const quick = await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      {
        framing: lines(),
        message: (conn) => {
          before = steps.length
          conn.write('heard\n')
        },
      },
    )
    const bystander = await Client.connect(quick.port)
    const slow = await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      handlers((what) => {
        if (steps.length === 0) bystander.write('now\n')
        steps.push(what)
      }),
    )
    const flooder = await Client.connect(slow.port)
    if (warmUp !== '') {
      flooder.write(warmUp)
      await flooder.lines(1)
    }
    flooder.write(input)
    await bystander.lines(1)
    while (!done(steps)) await new Promise((resolve) => setImmediate(resolve))
    bystander.destroy()
    flooder.destroy()
    return { before, steps }
  }

  it('leave the frames that they have no time for to the next turn, in their order, and others come in between', async () => {
    const { before, steps } = await overtaken(
      `${numbered.join('\n')}\n`,
      (step) => ({
        framing: lines(),
        message: (_, frame) => {
          step(frame.toString())
          take(2)
        },
      }),
      (steps) => steps.length === frames,
    )
    expect(steps).to.deep.equal(numbered)
    expect(before).to.be.within(1, frames / 4)
  })

  it('look at the clock behind a large write, however few rows there are', async () => {
    const large = Buffer.alloc(64 << 10)
    // The rows of a fresh listener are looked at one by one.
    const warmUp = Array.from({ length: 40 }, () => 'quick')
    const { before, steps } = await overtaken(
      `${numbered.slice(0, 7).join('\n')}\n`,
      (step) => ({
        framing: lines(),
        // With less, frames behind it would wait for room.
        outBuffer: { high: 16 << 20 },
        message: (conn, frame) => {
          const text = frame.toString()
          if (text === 'last') conn.write('warm\n')
          if (text === 'last' || text === 'quick') return
          step(text)
          conn.write(large)
          take(5)
        },
      }),
      (steps) => steps.length === 7,
      `${warmUp.join('\n')}\nlast\n`,
    )
    expect(steps).to.deep.equal(numbered.slice(0, 7))
    expect(before).to.be.within(1, 4)
  })

  it('look at the clock behind each frame of a listener whose hooks are not known yet', async () => {
    const { before, steps } = await overtaken(
      `${numbered.slice(0, 7).join('\n')}\n`,
      (step) => ({
        framing: lines(),
        message: (_, frame) => {
          step(frame.toString())
          take(5)
        },
      }),
      (steps) => steps.length === 7,
    )
    expect(steps).to.deep.equal(numbered.slice(0, 7))
    expect(before).to.be.within(1, 3)
  })

  it('look at the clock behind each frame of a listener that had a slow one', async () => {
    // One slow frame behind more quick ones than are looked at because the listener is fresh, and in front of the next look.
    const quick = Array.from({ length: 40 }, () => 'quick')
    const warmUp = [...quick, 'slow', ...quick]
    const { before, steps } = await overtaken(
      `${numbered.slice(0, 7).join('\n')}\n`,
      (step) => ({
        framing: lines(),
        message: (conn, frame) => {
          const text = frame.toString()
          if (text === 'slow') {
            take(1)
            conn.write('warm\n')
          }
          if (warmUp.includes(text)) return
          step(text)
          take(5)
        },
      }),
      (steps) => steps.length === 7,
      `${warmUp.join('\n')}\n`,
    )
    expect(steps).to.deep.equal(numbered.slice(0, 7))
    expect(before).to.be.within(1, 3)
  })

  it('leave what a custom framer has not cut', async () => {
    const { before, steps } = await overtaken(
      `${numbered.join('\n')}\n`,
      (step) => ({
        framing: custom((bytes) => {
          const end = bytes.indexOf(10)
          return end < 0 ? undefined : { consumed: end + 1, frame: bytes.subarray(0, end) }
        }),
        message: (_, frame) => {
          step(frame.toString())
          take(2)
        },
      }),
      (steps) => steps.length === frames,
    )
    expect(steps).to.deep.equal(numbered)
    expect(before).to.be.within(1, frames / 4)
  })

  it('give a stream as many bytes as its listeners have had time for', async () => {
    const input = Buffer.from(Array.from({ length: 256 << 10 }, (_, i) => i % 251))
    const size = (steps: string[]): number => steps.reduce((sum, step) => sum + step.length, 0)
    const { before, steps } = await overtaken(
      input,
      (step) => ({
        message: () => {},
        open: (conn) => {
          conn.toDuplex().on('data', (bytes: Buffer) => {
            step(bytes.toString('latin1'))
            take(bytes.length / 4096)
          })
        },
      }),
      (steps) => size(steps) === input.length,
    )
    expect(Buffer.from(steps.join(''), 'latin1').equals(input), 'bytes in their order').to.equal(true)
    expect(steps[0]!.length, 'bytes of the first piece, whose cost is not known').to.be.at.most(4 << 10)
    expect(size(steps.slice(0, before)), 'bytes before others were heard').to.be.at.most(48 << 10)
  })
})
