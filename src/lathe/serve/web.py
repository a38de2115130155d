"""The web framework: the only file that imports FastAPI and Starlette."""

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = [
    "APIRouter",
    "ASGIApp",
    "ClientDisconnect",
    "FastAPI",
    "HTTPConnection",
    "HTTPException",
    "JSONResponse",
    "Match",
    "Message",
    "PlainTextResponse",
    "Receive",
    "Request",
    "RequestValidationError",
    "Response",
    "Route",
    "Scope",
    "Send",
    "StreamingResponse",
]
