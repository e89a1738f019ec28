/*
 * What a libostree with ed25519 (2022.7, see scripts/ostree-ed25519.sh) has signed with the key of RFC 8032, section 7.1, test
 * 2, in base64. SECRET is seed and public key of it in base64, `tree` an empty folder:
 *
 *   ostree init --repo=repo --mode=archive
 *   ostree commit --repo=repo -b main -s signed --timestamp='2024-01-01 00:00:00 +0000' --canonical-permissions \
 *     --sign=SECRET tree
 *   ostree static-delta generate --repo=repo --empty --to=main --sign-type=ed25519 --sign=SECRET
 *   ostree summary --repo=repo -u --sign=SECRET
 */

/** `objects/ad/a36f….commit` */
export const COMMIT = Buffer.from(
  [
    'b3N0cmVlLnJlZi1iaW5kaW5nAAAAAAAAbWFpbgAFAGFzEyJzaWduZWQAAAAAAAAAAAAAAGWSAIBuNAuc/7N6mJylROa7eAoseJAdP7M3OHaFEaMG',
    'F6+gHURqDvEbfMFn87YD5YXH7u62dfqkEtXsc/YpiOsLbFSIWCsqIyMj',
  ].join(''),
  'base64',
);

/** `objects/ad/a36f….commitmeta` */
export const COMMIT_METADATA = Buffer.from(
  [
    'b3N0cmVlLnNpZ24uZWQyNTUxOQAAAAAA8/vz5FewH2e8wmdRksTIW4MRoTEQrlDBRu/RervoU3dCafdc7NxY9uvGQP8pcIAipFCMnPaZQ6t09UgM',
    'wBcmBUAAYWF5FF4=',
  ].join(''),
  'base64',
);

/** `summary` */
export const SUMMARY = Buffer.from(
  [
    'bWFpbgAAAAB+AAAAAAAAAK2jbwEDompEzdKqcmQcB/2SijJFHuIBTSzAi8wO5wYib3N0cmVlLmNvbW1pdC50aW1lc3RhbXAAAAAAAGWSAIAAdBgj',
    'KAVWAG9zdHJlZS5zdW1tYXJ5Lm1vZGUAAAAAAGFyY2hpdmUtejIAAHMUAABvc3RyZWUuc3VtbWFyeS5sYXN0LW1vZGlmaWVkAAAAAAAAAABrCg25',
    'AHQdAAAAAABvc3RyZWUuc3VtbWFyeS50b21ic3RvbmUtY29tbWl0cwAAAAAAAAAAAABiIQAAAABvc3RyZWUuc3RhdGljLWRlbHRhcwAAAABhZGEz',
    'NmYwMTAzYTI2YTQ0Y2RkMmFhNzI2NDFjMDdmZDkyOGEzMjQ1MWVlMjAxNGQyY2MwOGJjYzBlZTcwNjIyAAAAAAAAAAB3GuViKhn56aEMrR2mcSct',
    '1BLmem7mpKY51WkUk3LpLgBheUFsAGF7c3Z9FQAAAABvc3RyZWUuc3VtbWFyeS5pbmRleGVkLWRlbHRhcwAAAAEAYh4mAFMAhAAUATwBVwA=',
  ].join(''),
  'base64',
);

/** `summary.sig` */
export const SUMMARY_SIGNATURES = Buffer.from(
  [
    'b3N0cmVlLnNpZ24uZWQyNTUxOQAAAAAAifdjkQ6x9YEhFMN/r2VV+MHvpLsCKhhUe2GTHXQQxQAzC7/Vhw8uSwwvI9vsBHBNKkNi67aYZ7LI2Ek6',
    'sA1aDUAAYWF5FF4=',
  ].join(''),
  'base64',
);

/** `deltas/ra/NvAQ…/superblock` */
export const SIGNED_SUPERBLOCK = Buffer.from(
  [
    'T1NUU0dORFRvc3RyZWUuZW5kaWFubmVzcwAAAAAAAABsAHkSAAAAAGRlbHRhcy9yYS9OdkFRT2lha1ROMHFweVpCd0hfWktLTWtVZTRnRk5MTUNM',
    'ekE3bkJpSS9jb21taXRtZXRhAABvc3RyZWUuc2lnbi5lZDI1NTE5AAAAAADz+/PkV7AfZ7zCZ1GSxMhbgxGhMRCuUMFG79F6u+hTd0Jp91zs3Fj2',
    '68ZA/ylwgCKkUIyc9plDq3T1SAzAFyYFQABhYXkUXgBhe3N2fT8cxgAAAABrCg25raNvAQOiakTN0qpyZBwH/ZKKMkUe4gFNLMCLzA7nBiJvc3Ry',
    'ZWUucmVmLWJpbmRpbmcAAAAAAABtYWluAAUAYXMTInNpZ25lZAAAAAAAAAAAAAAAZZIAgG40C5z/s3qYnKVE5rt4Cix4kB0/szc4doURowYXr6Ad',
    'RGoO8Rt8wWfztgPlhcfu7rZ1+qQS1exz9imI6wtsVIhYKyojIyMAAAAAAACgvNkOeE2bwhD4Du0+lX4myWwtq/5YNJ8PxXL4sBVfTgAAAABRAAAA',
    'AAAAAA0AAAAAAAAAA0RqDvEbfMFn87YD5YXH7u62dfqkEtXsc/YpiOsLbFSIAm40C5z/s3qYnKVE5rt4Cix4kB0/szc4doURowYXr6AdJHsAAAAA',
    '7AFuAW4B8ADQAMgAAAAAAG9zdHJlZS5zaWduLmVkMjU1MTkAAAAAAA7C4fjNKUJ7xamvJNpjY0NYdmNYZwnoz9i58fO5uVLkT2NzFfF09XkZrLhE',
    '623lrJGGvp3QAd451ECRHdqIXgRAAGFheRReBAI=',
  ].join(''),
  'base64',
);
