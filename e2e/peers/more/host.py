"""A host made with the official Python SDK. What host.mjs says of itself holds for this one."""

import asyncio
import json
import sys

import mcp


async def main(calls: str, command: str, *args: str) -> None:
    asked: list[str] = []
    form: dict = {}

    async def sample(context, params):
        asked.append("sampling/createMessage")
        content = mcp.types.TextContent(type="text", text="a thought")
        return mcp.types.CreateMessageResult(model="none", role="assistant", content=content)

    async def elicit(context, params):
        asked.append("elicitation/create")
        return mcp.types.ElicitResult(action="accept", content=form)

    server = mcp.StdioServerParameters(command=command, args=list(args))
    async with mcp.Client(server, sampling_callback=sample, elicitation_callback=elicit) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        answers = []
        for call in json.loads(calls):
            asked, form = [], call.get("form") or {}
            result = await client.call_tool(call["tool"], call.get("args") or {})
            answers.append({"text": "\n".join(part.text for part in result.content), "asked": asked})
    print(json.dumps({"tools": tools, "answers": answers}))


asyncio.run(main(*sys.argv[1:]))
