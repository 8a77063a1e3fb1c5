import { census, expectNothingLeft } from './leaks.js'
import { orders, type Outcome, PairServer } from './pair_cells.js'
import { type Feature, features } from './pairs.js'
import { Random } from './random.js'

const served = 'served'
const ended = 'end'
const lost = 'thread-lost'
/** Of one server. */
const mostDeaths = 8

/**
 * What becomes of a connection when the first feature comes first, when the second one does, and when both come at once; one word for all
 * three. `no …`: this call is refused. `death` is that of the thread while no hook of the connection runs, and `own death` that by one of its hooks.
 * docs/states.md says why, under "Where two features meet".
 */
const outcomes: Record<Feature, Partial<Record<Feature, string | readonly [string, string, string]>>> = {
  pipe: {
    pipe: 'served, no pipe',
    TLS: 'served, no pipe',
    PROXY: served,
    reload: served,
    moveTo: ['served, no moveTo', served, served],
    setFraming: served,
    pause: served,
    // At once: a frame that comes behind the pipe goes to the other end, and ends nothing.
    end: [ended, ended, 'end or served'],
    backpressure: served,
    publish: served,
    // At once: its hook still connects to the other end.
    death: [served, served, 'served or thread-lost'],
    // Piped, it has no hook any more that could end the thread.
    'own death': [served, lost, 'served or thread-lost'],
  },
  TLS: {
    TLS: served,
    PROXY: served,
    reload: served,
    moveTo: 'served, no moveTo',
    setFraming: served,
    pause: served,
    end: ended,
    backpressure: served,
    publish: served,
    // Second: its handshake has not begun, and it may be on the other reactor.
    death: [lost, 'served or thread-lost', lost],
    'own death': lost,
  },
  PROXY: {
    PROXY: served,
    reload: served,
    moveTo: served,
    setFraming: served,
    pause: served,
    end: ended,
    backpressure: served,
    publish: served,
    death: served,
    'own death': lost,
  },
  reload: {
    reload: served,
    moveTo: served,
    setFraming: served,
    pause: served,
    end: ended,
    backpressure: served,
    publish: served,
    death: served,
    'own death': lost,
  },
  moveTo: {
    moveTo: served,
    setFraming: served,
    pause: served,
    end: ended,
    backpressure: served,
    publish: served,
    death: served,
    'own death': lost,
  },
  setFraming: {
    setFraming: served,
    pause: served,
    end: ended,
    backpressure: served,
    publish: served,
    death: served,
    'own death': lost,
  },
  pause: { pause: served, end: ended, backpressure: served, publish: served, death: served, 'own death': lost },
  end: { end: ended, backpressure: ended, publish: ended, death: ended, 'own death': [ended, lost, 'end or thread-lost'] },
  backpressure: { backpressure: served, publish: served, death: served, 'own death': lost },
  publish: { publish: served, death: served, 'own death': lost },
  death: { death: served, 'own death': lost },
  'own death': { 'own death': lost },
}

function outcomeOf(first: Feature, second: Feature, order: number): Outcome {
  const row = outcomes[first][second]!
  const [fates, refused] = (typeof row === 'string' ? row : row[order]!).split(', no ')
  return { fates: fates!.split(' or ') as Outcome['fates'], refused: refused ? [refused] : [] }
}

/** A test for each pair, in each order; `PAIRS='moveTo × pause'` runs those whose names have this in them. */
export function definePairs(seed: number): void {
  const before = census()
  let pairs: PairServer | undefined
  const close = async () => {
    const closing = pairs
    pairs = undefined
    await closing?.close()
    expectNothingLeft(before)
  }
  afterEach(async function () {
    const hasFailed = this.currentTest?.state === 'failed'
    if (hasFailed) console.log(`      STORM_SEED=${seed}: ${pairs?.trace.join('; ')}`)
    if (hasFailed || (pairs?.deaths ?? 0) >= mostDeaths) await close()
  })
  after(close)

  for (const [i, first] of features.entries()) {
    for (const [j, second] of features.slice(i).entries()) {
      const name = `${first} × ${second}`
      if (!name.includes(process.env['PAIRS'] ?? '')) continue
      it(name, async () => {
        const pair = [first, second] as const
        pairs ??= await PairServer.start(new Random(seed))
        for (const [at, order] of orders.entries()) {
          if (first === second && order === 'second') continue
          await pairs.run(pair, order, outcomeOf(first, second, at), new Random(seed + 1_000 * i + 10 * j + at))
        }
      })
    }
  }
}
