import { Faults } from './faults.js'
import { type ProcessOptions, ServerProcess } from './faulty_server.js'
import { census, expectNothingLeft } from './leaks.js'

/** Made for each test of a suite: a page of faults of its own, and a server that meets them, gone when the test is over. */
export interface FaultSetup {
  readonly faults: Faults
  /** `descriptors`: its `ulimit -n`. */
  start(options: ProcessOptions, descriptors?: number): Promise<ServerProcess>
}

/** Call it inside of `describe`: it sets the hooks up. */
export function faultSetup(): FaultSetup {
  let faults: Faults
  let server: ServerProcess | undefined
  before(function () {
    this.timeout(120_000) // the first time, a compiler runs
    Faults.build()
  })
  beforeEach(() => {
    faults = new Faults()
  })
  const atFirst = census()
  afterEach(async () => {
    await server?.kill()
    server = undefined
    faults.close()
    expectNothingLeft(atFirst)
  })
  return {
    get faults() {
      return faults
    },
    async start(options, descriptors) {
      server = await ServerProcess.start(faults, options, descriptors)
      return server
    },
  }
}
