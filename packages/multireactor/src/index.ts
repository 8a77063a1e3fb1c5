export * from '@multireactor/core'
