import { type Candidate, candidates, chosenByName } from './candidates.js'
import { neededFor } from './figures.js'
import type { LoadShape } from './load.js'
import type { Options } from './options.js'
import type { Pass } from './rounds.js'
import type { Workload, WorkloadPlan } from './workload.js'

/** Those that are asked for, whether or not they can run here. */
export function askedCandidates(options: Options): Candidate[] {
  const named = chosenByName(options.only)
  if (named !== undefined) return named
  return candidates.filter(({ extra, name }) => options.full || !extra || neededByWorks(options, name))
}

function neededByWorks({ works, figures }: Options, name: string): boolean {
  return works.some((work) => neededFor(work).servers.includes(name) && (figures || work === 'isolation' || work === 'json20k'))
}

/** The passes of one round, in order. */
export function passesOf(options: Options, workloads: readonly Workload[], present: readonly Candidate[]): Pass[] {
  return workloads.flatMap((workload) => {
    const able = present.filter((candidate) => canDo(candidate, workload) && isWanted(options, candidate.name, workload))
    const { seconds, warmup } = options
    return placements(options, workload).map((pinned) => ({
      workload,
      candidates: able,
      shapes: shapesOf(options, workload),
      cores: pinned ? { server: options.serverCores, load: options.loadCores } : undefined,
      seconds,
      warmup,
    }))
  })
}

function canDo({ works, workloads, name: server }: Candidate, { name, work, kind }: Workload): boolean {
  // The connections of `cluster` are in its children.
  if (kind === 'idle' && server.startsWith('cluster')) return false
  return works.includes(work) && (workloads === undefined || workloads.includes(name))
}

function isWanted({ figures, full, only }: Options, name: string, { name: work }: Workload): boolean {
  if (only.length > 0 || full) return true
  const needed = neededFor(work).servers.includes(name)
  return figures ? needed : needed || !candidates.find((one) => one.name === name)!.extra
}

function placements({ pin }: Options, { pinned, kind }: WorkloadPlan): boolean[] {
  if (kind !== 'load') return [false]
  switch (pin) {
    case 'own':
      return [pinned]
    case 'yes':
      return [true]
    case 'no':
      return [false]
    case 'both':
      return [pinned, !pinned]
  }
}

function shapesOf({ connections, inFlight, figures }: Options, { name, shapes, fixed }: Workload): readonly LoadShape[] {
  if (fixed) return shapes
  if (connections === undefined && inFlight === undefined) return figures ? neededFor(name).shapes : shapes
  const counts = connections ?? [...new Set(shapes.map((shape) => shape.connections))]
  const depths = inFlight ?? [...new Set(shapes.map((shape) => shape.inFlight))]
  return counts.flatMap((count) => depths.map((depth) => ({ connections: count, inFlight: depth })))
}
