#!/usr/bin/env python3
"""The official `openai` client for Python through `compute-futures proxy`. Only base URL and key are set, by the environment."""

import json

from openai import APIStatusError, OpenAI

client = OpenAI(max_retries=0)
messages = [{"role": "user", "content": "Revenue rose by a tenth. Costs fell. The year was good for everyone."}]
models = [model.id for model in client.models.list()]
chat = client.chat.completions.create(model="auto", messages=messages, max_tokens=64)
streamed, chunks = "", 0
for chunk in client.chat.completions.create(model="auto", messages=messages, max_tokens=64, stream=True):
    streamed += chunk.choices[0].delta.content or ""
    chunks += 1
vectors = [entry.embedding for entry in client.embeddings.create(model="auto", input=["one", "two"]).data]
refused = None
try:
    client.chat.completions.create(model="no/such-model", messages=messages)
except APIStatusError as error:
    refused = {"status": error.status_code, "code": error.code, "message": error.message}
print(
    json.dumps(
        {
            "models": models,
            "text": chat.choices[0].message.content,
            "usage": chat.usage.model_dump(),
            "streamed": streamed,
            "chunks": chunks,
            "vectors": vectors,
            "refused": refused,
        }
    )
)
