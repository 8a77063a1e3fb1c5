import { expect } from 'chai'
import { app } from '../support/app.js'
import { faultSetup } from '../support/fault_setup.js'
import type { FaultRule } from '../support/faults.js'
import { ServerProcess } from '../support/faulty_server.js'

const options = { app: app('faults-pool'), listen: { port: 0, host: '127.0.0.1' }, reactors: 2, pool: 1 }

describe('a server that the kernel gives nothing', () => {
  const setup = faultSetup()

  const refusals: [FaultRule, code: string][] = [
    [{ call: 'socket', error: 'EMFILE' }, 'EMFILE'],
    [{ call: 'socket', error: 'ENOBUFS', every: 2 }, 'ENOBUFS'],
    [{ call: 'eventfd', error: 'EMFILE' }, 'ERR_MR_SYSTEM'],
    // Some are made before the one that fails.
    [{ call: 'eventfd', error: 'ENFILE', every: 3 }, 'ERR_MR_SYSTEM'],
    // The mailboxes of the reactors and the worker are there; the port of the main thread is not, or that of a reactor's thread.
    [{ call: 'eventfd', error: 'EMFILE', every: 4 }, 'ERR_MR_SYSTEM'],
    [{ call: 'eventfd', error: 'EMFILE', every: 5 }, 'ERR_MR_SYSTEM'],
    [{ call: 'epoll_create1', error: 'EMFILE' }, 'ERR_MR_SYSTEM'],
    [{ call: 'epoll_create1', error: 'ENOMEM', every: 2 }, 'ERR_MR_SYSTEM'],
    [{ call: 'epoll_add', error: 'ENOSPC' }, 'ERR_MR_SYSTEM'],
    [{ call: 'epoll_add', error: 'ENOMEM', every: 2 }, 'ERR_MR_SYSTEM'],
  ]
  for (const [rule, code] of refusals) {
    it(`does not start, and says why: ${rule.error} from ${rule.every ? `call ${rule.every} of ` : ''}${rule.call}`, async () => {
      const fault = setup.faults.inject(rule)
      const refused = await ServerProcess.refused(setup.faults, options)
      expect(refused.code).to.equal(code)
      expect(fault.happened).to.be.above(0)
      expect({ ...refused.after, threads: 0 }).to.deep.equal({ ...refused.before, threads: 0 })
    })
  }
})
