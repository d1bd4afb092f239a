package hosts

// The shapes that most hosts share.
var (
	command      = fields{{"command", "{vk}"}, {"args", []string{"bridge", "{url}"}}}
	typedCommand = append(fields{{"type", "stdio"}}, command...)

	// The first connection may have to wait for the server and the issuer; a whole number is not a number to Codex.
	codexStart = field{"startup_timeout_sec", verbatim("20.0")}
)

// All lists the hosts we know, in the order of docs/hosts.md, which says where each row comes from and what was tried.
func All() []*Host {
	const again = "Restart it."
	return []*Host{
		{
			Key: "claude-desktop", Name: "Claude Desktop", Restart: "Quit it completely and start it again.",
			files: []string{ // the Windows Store build has a folder of its own; the Linux builds differ in case
				"{LOCALAPPDATA|~/AppData/Local}/Packages/Claude_*/LocalCache/Roaming/Claude/claude_desktop_config.json",
				"{config}/Claude/claude_desktop_config.json", "{config}/claude/claude_desktop_config.json",
			},
			signs:    []string{"{config}/Claude", "/Applications/Claude.app"},
			format:   jsonFile{at: [][]string{{"mcpServers"}}, strict: true},
			channels: []Channel{viaBridge}, entry: map[Channel]fields{viaBridge: command},
		},
		{
			Key: "claude-code", Name: "Claude Code", Restart: "Start a new session.",
			files: []string{"{CLAUDE_CONFIG_DIR|~}/.claude.json"}, programs: []string{"claude"},
			format:   jsonFile{at: [][]string{{"mcpServers"}}, strict: true},
			channels: []Channel{viaHelper, viaBridge},
			entry: map[Channel]fields{
				viaHelper: {{"type", "http"}, {"url", "{url}"}, {"headersHelper", "{command:claude-code}"}},
				viaBridge: typedCommand,
			},
		},
		{
			Key: "cursor", Name: "Cursor", Restart: again,
			files: []string{"~/.cursor/mcp.json"}, signs: []string{"~/.cursor", "/Applications/Cursor.app"}, programs: []string{"cursor"},
			format:   jsonFile{at: [][]string{{"mcpServers"}}},
			channels: []Channel{viaBridge}, entry: map[Channel]fields{viaBridge: command},
		},
		vsCode("vscode", "VS Code", "Code", "code"),
		vsCode("vscode-insiders", "VS Code Insiders", "Code - Insiders", "code-insiders"),
		{
			Key: "codex", Name: "Codex", Restart: "Start a new session.",
			files: []string{"{CODEX_HOME|~/.codex}/config.toml"}, signs: []string{"{CODEX_HOME|~/.codex}"}, programs: []string{"codex"},
			format:   tomlFile{table: "mcp_servers"},
			channels: []Channel{viaHelper, viaBridge}, helperSince: "0.154",
			entry: map[Channel]fields{
				viaHelper: {{"url", "{url}"}, {"http_headers_helper", "{command:codex}"}, codexStart},
				viaBridge: append(command[:2:2], codexStart),
			},
		},
		{
			Key: "gemini", Name: "Gemini CLI", Restart: "Start a new session.",
			files: []string{"~/.gemini/settings.json"}, programs: []string{"gemini"},
			format:   jsonFile{at: [][]string{{"mcpServers"}}},
			channels: []Channel{viaBridge}, entry: map[Channel]fields{viaBridge: command},
		},
		{
			Key: "goose", Name: "Goose", Restart: "Start a new session.",
			files:     []string{"{xdg}/goose/config.yaml"},
			onWindows: []string{"{config}/Block/goose/config/config.yaml"},
			signs:     []string{"{xdg}/goose", "/Applications/Goose.app"}, programs: []string{"goose"},
			format:   yamlFile{key: "extensions"},
			channels: []Channel{ViaGateway, viaBridge}, unixOnly: []Channel{ViaGateway},
			entry: map[Channel]fields{
				ViaGateway: {
					{"enabled", true}, {"type", "streamable_http"}, {"name", "{name}"}, {"description", "through Valet Key"},
					{"uri", "http://localhost{gateway-path}"}, {"socket", "{socket}"}, {"timeout", 300},
				},
				viaBridge: {
					{"enabled", true}, {"type", "stdio"}, {"name", "{name}"}, {"description", "through Valet Key"},
					{"cmd", "{vk}"}, {"args", []string{"bridge", "{url}"}}, {"timeout", 300},
				},
			},
		},
		{
			Key: "zed", Name: "Zed", Restart: "It takes the change up by itself.",
			files: []string{"{xdg}/zed/settings.json"}, onWindows: []string{"{config}/Zed/settings.json"},
			signs: []string{"{xdg}/zed", "/Applications/Zed.app"}, programs: []string{"zed", "zeditor"},
			format:   jsonFile{at: [][]string{{"context_servers"}}},
			channels: []Channel{viaBridge}, entry: map[Channel]fields{viaBridge: command},
		},
		{
			Key: "windsurf", Name: "Windsurf", Restart: "Press Refresh in its list of MCP servers, or restart it.",
			files: []string{"~/.codeium/windsurf/mcp_config.json"}, signs: []string{"~/.codeium/windsurf", "/Applications/Windsurf.app"}, programs: []string{"windsurf"},
			format:   jsonFile{at: [][]string{{"mcpServers"}}},
			channels: []Channel{viaBridge}, entry: map[Channel]fields{viaBridge: command},
		},
		{
			Key: "copilot", Name: "Copilot CLI", Restart: "Start a new session.",
			files: []string{"{COPILOT_HOME|~/.copilot}/mcp-config.json"}, signs: []string{"{COPILOT_HOME|~/.copilot}"}, programs: []string{"copilot"},
			format:   jsonFile{at: [][]string{{"mcpServers"}}},
			channels: []Channel{viaBridge},
			entry:    map[Channel]fields{viaBridge: append(append(fields{{"type", "local"}}, command...), field{"tools", []string{"*"}})},
		},
		{
			Key: "opencode", Name: "opencode", Restart: "Start a new session.",
			files: []string{"{xdg}/opencode/opencode.jsonc", "{xdg}/opencode/opencode.json"},
			signs: []string{"{xdg}/opencode"}, programs: []string{"opencode"},
			format:   jsonFile{at: [][]string{{"mcp", "servers"}, {"mcp"}}}, // version 2 nests them one deeper
			channels: []Channel{viaBridge},
			entry:    map[Channel]fields{viaBridge: {{"type", "local"}, {"command", []string{"{vk}", "bridge", "{url}"}}, {"enabled", true}}},
		},
		{
			Key: "crush", Name: "Crush", Restart: "Start a new session.",
			files: []string{"{xdg}/crush/crushrc"}, signs: []string{"{xdg}/crush"}, programs: []string{"crush"},
			format:   shellFile{},
			channels: []Channel{viaBridge}, entry: map[Channel]fields{viaBridge: command},
		},
		{
			Key: "lmstudio", Name: "LM Studio", Restart: "It takes the change up by itself; restart it if not.",
			files: []string{"~/.lmstudio/mcp.json", "~/.cache/lm-studio/mcp.json"}, signs: []string{"~/.lmstudio", "~/.cache/lm-studio"}, programs: []string{"lms"},
			format:   jsonFile{at: [][]string{{"mcpServers"}}},
			channels: []Channel{viaBridge}, entry: map[Channel]fields{viaBridge: command},
		},
		{
			Key: "cline", Name: "Cline", Restart: "Restart the editor it runs in.",
			files: []string{
				"{config}/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
				"{config}/Code - Insiders/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
				"{config}/Cursor/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
			},
			signs: []string{
				"{config}/Code/User/globalStorage/saoudrizwan.claude-dev", "{config}/Code - Insiders/User/globalStorage/saoudrizwan.claude-dev",
				"{config}/Cursor/User/globalStorage/saoudrizwan.claude-dev",
			},
			format:   jsonFile{at: [][]string{{"mcpServers"}}},
			channels: []Channel{viaBridge}, entry: map[Channel]fields{viaBridge: command},
		},
		{
			Key: "continue", Name: "Continue", Restart: "Reload its configuration, or restart the editor it runs in.",
			files: []string{"~/.continue/config.yaml"}, signs: []string{"~/.continue"}, programs: []string{"cn"},
			format:   yamlFile{key: "mcpServers", list: true},
			blank:    "name: Local Config\nversion: 1.0.0\nschema: v1\n", // required there
			channels: []Channel{viaBridge}, entry: map[Channel]fields{viaBridge: append(fields{{"name", "{name}"}}, command...)},
		},
		{
			Key: "amp", Name: "Amp", Restart: "Start a new session.",
			files:     []string{"~/.config/amp/settings.json", "~/.config/amp/settings.jsonc"},
			onWindows: []string{"~/.config/amp/settings.json", "~/.config/amp/settings.jsonc", "{config}/amp/settings.json"},
			signs:     []string{"~/.config/amp"}, programs: []string{"amp"},
			format:   jsonFile{at: [][]string{{"amp.mcpServers"}}},
			channels: []Channel{viaBridge}, entry: map[Channel]fields{viaBridge: command},
		},
		{
			Key: "kiro", Name: "Kiro", Restart: "It takes the change up by itself; restart it if not.",
			files: []string{"~/.kiro/settings/mcp.json"}, signs: []string{"~/.kiro", "/Applications/Kiro.app"}, programs: []string{"kiro", "kiro-cli"},
			format:   jsonFile{at: [][]string{{"mcpServers"}}},
			channels: []Channel{viaBridge}, entry: map[Channel]fields{viaBridge: command},
		},
		{
			Key: "antigravity", Name: "Antigravity", Restart: "Press Refresh in its list of MCP servers, or restart it.",
			files: []string{"~/.gemini/antigravity/mcp_config.json", "~/.gemini/config/mcp_config.json"},
			signs: []string{"~/.gemini/antigravity", "/Applications/Antigravity.app"}, programs: []string{"antigravity", "agy"},
			format:   jsonFile{at: [][]string{{"mcpServers"}}},
			channels: []Channel{viaBridge}, entry: map[Channel]fields{viaBridge: command},
		},
	}
}

func vsCode(key, name, folder, program string) *Host {
	return &Host{
		Key: key, Name: name, Restart: "Start the server from the file's code lens or MCP: List Servers, or restart it.",
		files: []string{"{config}/" + folder + "/User/mcp.json"}, signs: []string{"{config}/" + folder}, programs: []string{program},
		format:   jsonFile{at: [][]string{{"servers"}}},
		channels: []Channel{ViaGateway, viaBridge},
		entry: map[Channel]fields{
			ViaGateway: {{"type", "http"}, {"url", "{gateway-url}"}},
			viaBridge:  typedCommand,
		},
	}
}
