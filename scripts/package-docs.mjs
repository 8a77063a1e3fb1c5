// The documentation as the package `multireactor` carries it: its own links, and none to files outside of the tarball.
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { filesBelow, root, whenMain } from './lib.mjs'

const target = 'packages/multireactor/docs'

/** Where a file of the repository lies in the package's folder, or nothing. */
function placeOf(path) {
  if (path === 'README.md') return 'overview.md'
  return path.startsWith('docs/') ? path.slice('docs/'.length) : undefined
}

function linksOf(page, text) {
  return text.replace(/\[([^\]]*)\]\((?!\w+:)([^)#\s]*)(#[^)\s]*)?\)/g, (link, words, to, anchor = '') => {
    if (to === '') return link
    const place = placeOf(join(dirname(page), to))
    return place === undefined ? words : `[${words}](${relative(dirname(placeOf(page)), place)}${anchor})`
  })
}

export function packageDocs() {
  rmSync(join(root, target), { recursive: true, force: true })
  for (const page of ['README.md', ...filesBelow('docs')]) {
    const to = join(root, target, placeOf(page))
    mkdirSync(dirname(to), { recursive: true })
    if (page.endsWith('.md')) writeFileSync(to, linksOf(page, readFileSync(join(root, page), 'utf8')))
    else copyFileSync(join(root, page), to)
  }
}

await whenMain(import.meta.url, packageDocs)
