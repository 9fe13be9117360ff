#!/usr/bin/env python3
"""Speech both ways with the official `openai` client for Python through `compute-futures proxy`. Only base URL and key are set, by the
environment. The speech is read piece by piece. Prints what came back, and what was said to a file that is no recording."""

import base64
import json

from openai import APIStatusError, OpenAI

client = OpenAI(max_retries=0)
wav = base64.b64decode("UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=")
speech = client.audio.speech.with_streaming_response
with speech.create(model="auto", voice="alloy", input="Hello.", response_format="mp3") as spoken:
    media_type, audio = spoken.headers["content-type"], b"".join(spoken.iter_bytes())


def transcribe(recording, **options):
    return client.audio.transcriptions.create(model="auto", file=("talk.wav", recording, "audio/wav"), **options)


heard = transcribe(wav).text
plain = transcribe(wav, response_format="text")
refused = None
try:
    transcribe(b"no recording")
except APIStatusError as error:
    refused = {"status": error.status_code, "code": error.code}
encoded = base64.b64encode(audio).decode()
print(json.dumps({"audio": encoded, "type": media_type, "heard": heard, "plain": plain, "refused": refused}))
