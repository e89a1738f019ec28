// @peculiar/x509 resolves its parts by decorators and needs the polyfill loaded first.
import 'reflect-metadata';

export * from '@peculiar/x509';
