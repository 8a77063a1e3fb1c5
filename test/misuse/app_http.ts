import { type HttpRequest, type HttpResponse, httpApp, type ServerWebSocket } from '@multireactor/http'
import type { Random } from '../support/random.js'
import { kind, record, topics, topicName as tcpTopic } from './records.js'
import { callCodes, publication, schedule } from './operations.js'
import { attempt, type Expected, nextNumber, randomOf, type Story, newStory, tell, threadId, turnOf } from './story.js'
import { compare, someJob, task, taskCodes } from './tasks.js'
import { someForm, someNoBytes, someNonsense } from './values.js'
import { work } from './work.js'

/** Publications of others are no messages. */
const topicName = (sequence: number, topic: number): string => `ws ${tcpTopic(sequence, topic)}`
const http = { may: ['ERR_MR_HTTP'] }

/** `/http/<sequence>/<index>/<number>`. */
function storyOf(req: HttpRequest): { story: Story; number: number } {
  const [, , sequence, index, number] = req.path.split('/')
  return { story: newStory(Number(sequence), Number(index), 'http'), number: Number(number) }
}

async function request(req: HttpRequest, res: HttpResponse): Promise<void> {
  const { story, number } = storyOf(req)
  const key = `${story.sequence}:${story.index}:request:${number}`
  const random = randomOf(key)
  let part = 0
  let over = false
  res.setHeader('x-number', number)
  const own = (length: number): string =>
    record(story.letter, story.sequence, { kind: kind.body, a: number, b: part++, last: true }, length)
  const make = (name: string, call: () => unknown, expected: Expected = http): unknown =>
    attempt(story, key, name, call, expected)
  const end = (): void => {
    const { data, spoil } = someForm(random, own(random.pick([0, 10, 3_000, 40_000])))
    make('res.end', () => res.end(data))
    spoil()
    over = true
  }
  const step = (): void => {
    const way = random.below(22)
    const odd = someNonsense(random)
    const noBytes = someNoBytes(random)
    if (way < 3) {
      const { data, spoil } = someForm(random, own(random.pick([0, 10, 3_000, 40_000])))
      make('res.write', () => res.write(data))
      spoil()
    } else if (way === 3) make('res.write wrong', () => res.write(noBytes as never), { wrong: true })
    else if (way === 4 && noBytes !== undefined) {
      make('res.end wrong', () => res.end(noBytes as never), { wrong: true })
    } else if (way === 5)
      make('setHeader', () => res.setHeader(`x-${random.below(3)}`, random.pick(['a', 7, ['a', 'b']] as const)))
    else if (way === 6) make('setHeader wrong', () => res.setHeader(odd as never, 'x'), { wrong: true })
    else if (way === 7)
      make(
        'setHeader wrong',
        () =>
          res.setHeader(
            'x-odd',
            random.pick(['a\r\nb: c', '\u1234', '\0', Symbol('!'), [Symbol('!')], ['a\nb'], {}, null, [['x']]]) as never,
          ),
        { wrong: true },
      )
    else if (way === 8) make('appendHeader wrong', () => res.appendHeader(odd as never, 'x'), { wrong: true })
    else if (way === 9) make('removeHeader', () => res.removeHeader('x-0'))
    else if (way === 10) make('removeHeader wrong', () => res.removeHeader(odd as never), { wrong: true })
    else if (way === 11) make('hasHeader', () => res.hasHeader('x-0'))
    else if (way === 12) make('hasHeader wrong', () => res.hasHeader(odd as never), { wrong: true })
    else if (way === 13)
      make(
        'content-length wrong',
        () => res.setHeader('content-length', random.pick(['-1', Number.NaN, 1e300, '7 7', '', [7, 8]]) as never),
        { wrong: true },
      )
    else if (way === 14) make('transfer-encoding', () => res.setHeader('transfer-encoding', 'chunked'), { wrong: true })
    else if (way === 15)
      make(
        'look',
        () =>
          [
            req.method,
            req.url,
            req.query,
            req.headers,
            req.header('a'),
            req.remotePort,
            req.connection,
            req.signal,
            req.body,
            res.ended,
            res.headersSent,
          ].length,
      )
    else if (way === 16) make('req.header wrong', () => req.header(odd as never), { wrong: true })
    else if (way === 17) make('req.run wrong', () => req.run(noBytes as never), { wrong: true })
    else if (way === 18) make('req.run', () => req.run(`job ${story.letter} ${story.sequence} 6 1 whole 3`), { may: callCodes })
    else if (way === 21) {
      const { job, wanted, spoil } = someJob(random, story.letter, story.sequence)
      make('req.runTask', () => req.runTask(job).then((got) => compare('req.runTask', wanted, got)), {
        may: [...callCodes, ...taskCodes],
      })
      spoil()
    } else if (way === 19) make('drained', () => res.drained())
    else if (way === 20 && random.below(4) === 0) end()
  }
  for (let i = random.below(6); i > 0; i--) step()
  if (random.below(4) === 0)
    make('read twice', () => Promise.all([req.text(), req.bytes()]), { may: ['ERR_MR_HTTP', 'ERR_MR_CONNECTION_CLOSED'] })
  if (random.below(12) === 0) throw new Error('as a handler may')
  if (random.below(3) === 0) await new Promise((resolve) => setTimeout(resolve, random.below(10)))
  for (let i = random.below(4); i > 0; i--) schedule(random, step)
  if (random.below(12) === 0) res.statusCode = random.pick([204, 304, 404, 999])
  if (random.below(24) === 0) res.statusCode = random.pick([Number.NaN, 100, 1_000, '200', null]) as never
  if (!over) end()
  if (random.below(6) === 0) schedule(random, step)
  // An app that keeps its mistake to itself, and never answers, would keep the connection of a peer that has left with FIN.
  if (!res.ended) throw new Error('as a handler may')
}

/** Messages of one WebSocket. */
function callSome(ws: ServerWebSocket<Story>, hook: string): unknown {
  const story = ws.data
  const turn = turnOf(story, hook)
  if (turn > 12) return undefined
  const key = `${story.sequence}:${story.index}:ws ${hook}:${turn}`
  const random = randomOf(key)
  for (let n = random.below(5); n > 0; n--) {
    const own = randomOf(key, n)
    schedule(random, () => speak(ws, story, own, `${key}:${n}`))
  }
  return random.below(4) === 0 ? new Promise((resolve) => setImmediate(resolve)) : undefined
}

function speak(ws: ServerWebSocket<Story>, story: Story, random: Random, key: string): void {
  const make = (name: string, call: () => unknown, expected: Expected = {}): unknown => attempt(story, key, name, call, expected)
  const noBytes = someNoBytes(random)
  const odd = someNonsense(random)
  const topic = random.below(topics)
  const way = random.below(20)
  if (way < 5) {
    const text = record(
      story.letter,
      story.sequence,
      { kind: kind.loose, a: nextNumber(), b: threadId, last: true },
      random.pick([0, 5, 100, 300, 5_000, 20_000, 70_000]),
    )
    const { data, spoil } = someForm(random, text)
    make('ws.send', () => ws.send(data), { whenGone: false })
    spoil()
  } else if (way === 5) make('ws.send wrong', () => ws.send(noBytes as never), { wrong: true })
  else if (way === 6) make('ws.ping', () => ws.ping(story.letter.repeat(random.below(126))), { whenGone: false })
  else if (way === 7)
    make('ws.ping wrong', () => ws.ping(random.below(2) === 0 && noBytes !== undefined ? (noBytes as never) : 'x'.repeat(126)), {
      wrong: true,
    })
  else if (way === 8 && random.below(3) === 0) {
    make('ws.close', () => ws.close(random.pick([1_000, 3_000, 4_999]), 'x'.repeat(random.below(124))))
    story.ended = true
  } else if (way === 9)
    make('ws.close wrong', () => ws.close(random.pick([999, 1_005, 1_006, 5_000, Number.NaN, '1000', null]) as never), {
      wrong: true,
    })
  else if (way === 10)
    make('ws.close wrong', () => ws.close(1_000, random.pick(['x'.repeat(124), 5, null, odd]) as never), { wrong: true })
  else if (way === 11 && random.below(4) === 0) {
    make('ws.terminate', () => ws.terminate())
    story.gone = true
  } else if (way === 12) {
    make('ws.pause', () => ws.pause())
    schedule(random, () => make('ws.resume', () => ws.resume()))
  } else if (way === 13) make('ws.subscribe', () => ws.subscribe(topicName(story.sequence, topic)), { whenGone: false })
  else if (way === 14) make('ws.subscribe wrong', () => ws.subscribe(odd as never), { wrong: true })
  else if (way === 15)
    make('ws.publish', () => ws.publish(topicName(story.sequence, topic), publication(story.sequence, topic, random)), {
      whenGone: false,
    })
  else if (way === 16) make('ws.publish wrong', () => ws.publish('x', noBytes as never), { wrong: true })
  else if (way === 17) make('ws.unsubscribe wrong', () => ws.unsubscribe(odd as never), { wrong: true })
  else if (way === 18) make('ws.run wrong', () => ws.run(noBytes as never), { wrong: true })
  else make('look', () => [ws.data, ws.id, ws.remoteAddress, ws.readyState, ws.bufferedAmount, ws.subscriptions].length)
}

export default httpApp<Story>({
  request,
  parse: work,
  task,
  websocket: {
    upgrade: (req) => {
      const { story } = storyOf(req)
      story.listener = 'ws'
      if (randomOf(story.sequence, 'upgrade').below(20) === 0) return false
      return { data: story }
    },
    open: (ws) => callSome(ws, 'open'),
    message: (ws, data) => {
      const { letter } = ws.data
      const text = typeof data === 'string' ? data : data.toString('latin1')
      if (!new RegExp(`^[${letter}0-9.:\\n]*$`).test(text))
        tell('wrong', ws.data.sequence, `bytes astray in a message: ${text.slice(0, 200)}`)
      return callSome(ws, 'message')
    },
    drain: (ws) => callSome(ws, 'drain'),
    pong: (ws) => callSome(ws, 'pong'),
    close: (ws) => {
      ws.data.gone = true
      return callSome(ws, 'close')
    },
  },
})
