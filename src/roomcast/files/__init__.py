"""Where the contents of uploaded files are: a directory, or a bucket of S3, GCS or Azure; and what images look like.

May import: chat.

| module | what |
|---|---|
| ``contents`` | `chat.ports.FileContents` through obstore |
| ``images`` | the size of an image |
| ``thumbnails`` | small images, made in processes with limits |
"""
