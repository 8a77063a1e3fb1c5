// An existing fastify app: it knows nothing of reactors, and its tests inject requests without any socket.
import Fastify, { type FastifyInstance } from 'fastify'

interface Note {
  id: number
  text: string
}

/** The oldest note goes when there are more: a client must not decide how much memory is used. */
const mostNotes = 10_000

export function build(): FastifyInstance {
  const app = Fastify({ logger: false })
  const notes = new Map<number, Note>()
  let last = 0

  app.get('/', async (request) => ({ hello: request.ip }))

  app.post<{ Body: { text: string } }>(
    '/notes',
    { schema: { body: { type: 'object', required: ['text'], properties: { text: { type: 'string', minLength: 1 } } } } },
    async (request, reply) => {
      const note = { id: ++last, text: request.body.text }
      notes.set(note.id, note)
      notes.delete(note.id - mostNotes)
      return reply.code(201).send(note)
    },
  )

  app.get<{ Params: { id: string } }>('/notes/:id', async (request, reply) => {
    return notes.get(Number(request.params.id)) ?? reply.code(404).send({ error: 'no such note' })
  })

  return app
}
