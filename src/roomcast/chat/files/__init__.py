"""The use cases of uploaded files.

The row of a file is written before its content, and deleted after it: a process that dies in between leaves a file that
`removal.FileRemoval` removes.

May import: chat, backoff, contract.

| module | what |
|---|---|
| ``options`` | which files may be uploaded, what is counted |
| ``names`` | the name and the type of a file |
| ``uploads`` | upload, and removal of what was not sent |
| ``downloads`` | signed links, downloads, thumbnails |
| ``removal`` | deletes contents that nothing needs |
| ``use_cases`` | all of them, built |
| ``prompts`` | the files of a prompt, for models |
"""
