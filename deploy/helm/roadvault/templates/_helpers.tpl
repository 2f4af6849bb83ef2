{{- define "roadvault.fullname" -}}
{{- if contains "roadvault" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-roadvault{{ end -}}
{{- end }}

{{/* Labels of {root, component, store?, orderer?}: by these alone pods are selected, so they never change. */}}
{{- define "roadvault.selector" -}}
app.kubernetes.io/name: roadvault
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .store }}
roadvault/store: {{ .name }}
{{- end }}
{{- with .orderer }}
roadvault/orderer: {{ .name }}
{{- end }}
{{- end }}

{{- define "roadvault.labels" -}}
{{ include "roadvault.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "roadvault.image" -}}
{{- with .Values.image -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ with .digest }}@{{ . }}{{ end }}
{{- end -}}
{{- end }}

{{- define "roadvault.claim" -}}
{{- with (.store.volume).existingClaim }}{{ . }}{{ else }}vault-{{ include "roadvault.fullname" .root }}-store-{{ .store.name }}-0{{ end -}}
{{- end }}

{{/* Where each service says how it is. In a store's pod all share one address, so each has a port of its own. */}}
{{- define "roadvault.port" -}}
{{- dict "ingest" 7001 "packer" 7004 "pinner" 7005 "retriever" 7006 | dig . 7000 -}}
{{- end }}

{{/* Which secrets a service is given: variable and secret; what is no variable is a file that a URL names. */}}
{{- define "roadvault.granted" -}}
{{- $database := "DATABASE_URL: databaseUrl\nDATABASE_PASSWORD: databasePassword\ndatabase_ca: databaseCa\n" -}}
{{- $both := printf "%sREDIS_URL: redisUrl\nREDIS_PASSWORD: redisPassword\nredis_ca: redisCa\n" $database -}}
{{- $keys := printf "%sMASTER_KEYS: masterKeys\n" $both -}}
{{- if eq . "migrate" }}{{ $database }}
{{- else if eq . "ingest" }}{{ $both }}OIDC_CLIENT_SECRET: oidcClientSecret
COPY_SECRET: copySecret
VIEW_SECRET: viewSecret
LINK_SECRET: linkSecret
{{- else if eq . "door" }}DATABASE_URL: doorDatabaseUrl
DATABASE_PASSWORD: doorDatabasePassword
database_ca: databaseCa
LINK_SECRET: linkSecret
{{- else if eq . "packer" }}{{ $keys }}
{{- else if eq . "pinner" }}{{ $keys }}IPFS_RPC_TOKEN: ipfsRpcToken
{{- else if eq . "retriever" }}{{ $keys }}IPFS_RPC_TOKEN: ipfsRpcToken
VIEW_SECRET: viewSecret
{{- else if eq . "crust-orderer" }}{{ $keys }}WITNESS_RPC_TOKEN: witnessRpcToken
CRUST_SEED: crustSeed
PINNING_TOKEN: pinningToken
{{- else if eq . "notifier" }}{{ $both }}LINK_SECRET: linkSecret
CALLBACK_MASTER_KEYS: callbackMasterKeys
CALLBACK_SECRET: callbackSecret
{{- else if eq . "ipfs" }}IPFS_RPC_TOKEN: ipfsRpcToken
{{- else if eq . "witness" }}IPFS_RPC_TOKEN: witnessRpcToken
{{- end }}
{{- end }}

{{/* What {root, service, orderer?} is given of those, as {files: [{variable, path, name, key}]}. */}}
{{- define "roadvault.files" -}}
{{- $refs := .root.Values.secrets -}}
{{- if .orderer }}{{ $refs = merge (dict "crustSeed" .orderer.crustSeed) (omit $refs "crustSeed") }}{{ end -}}
files:
{{- $root := .root }}
{{- range $variable, $secret := include "roadvault.granted" .service | fromYaml }}
{{- with get $refs $secret }}
- variable: {{ if eq $variable (upper $variable) }}{{ $variable }}{{ end }}
  path: {{ snakecase $secret }}
  name: {{ .name | default $root.Values.existingSecret }}
  key: {{ .key }}
{{- end }}
{{- end }}
{{- end }}

{{- define "roadvault.volumes" -}}
- name: tmp-{{ .service }}
  emptyDir: {medium: Memory, sizeLimit: 256Mi}
- name: secrets-{{ .service }}
  projected:
    defaultMode: 0440
    sources:
    {{- range (include "roadvault.files" . | fromYaml).files }}
    - secret:
        name: {{ .name }}
        items: [{key: {{ .key | quote }}, path: {{ .path }}}]
    {{- end }}
{{- end }}

{{/* fsGroup lets the user read the files of secrets, and write to a fresh volume; one that is right is not walked. */}}
{{- define "roadvault.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 100
  fsGroup: 100
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "roadvault.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* The containers of {root, service, store?, orderer?, env, mounts?, ports?, ready}. */}}
{{- define "roadvault.container" -}}
{{- $root := .root -}}
{{- $values := index $root.Values.services .service -}}
{{- $port := include "roadvault.port" .service -}}
{{- $known := index ($root.Files.Get "files/settings.yaml" | fromYaml) .service -}}
{{- $given := dict -}}
{{- with $root.Values.intranetHost }}{{ $_ := set $given "ROADVAULT_HOSTS" . }}{{ end -}}
{{- range list $root.Values.settings $values.settings (.store).settings (.orderer).settings -}}
{{- $given = mergeOverwrite $given (deepCopy (. | default dict)) -}}
{{- end -}}
- name: {{ .service }}
  image: {{ include "roadvault.image" $root }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  # Nobody but the process itself can raise its limit of open files here.
  command:
    - sh
    - -c
    - ulimit -Sn {{ eq .service "ingest" | ternary 65536 16384 }} || ulimit -Sn "$(ulimit -Hn)"; exec roadvault-{{ .service }}
  env:
    - {name: ROADVAULT_HTTP_HOST, value: {{ $root.Values.listen | quote }}}
    - {name: ROADVAULT_HTTP_PORT, value: {{ $port | quote }}}
    - {name: ROADVAULT_DRAIN_SECONDS, value: {{ $root.Values.drainSeconds | quote }}}
    - {name: ROADVAULT_NOTICE_SECONDS, value: {{ $root.Values.noticeSeconds | quote }}}
    {{- range $name, $value := .env }}
    {{- if ne $value "" }}
    - {name: ROADVAULT_{{ $name }}, value: {{ $value | quote }}}
    {{- end }}
    {{- end }}
    {{- range (include "roadvault.files" . | fromYaml).files }}
    {{- if .variable }}
    - {name: ROADVAULT_{{ .variable }}_FILE, value: /run/secrets/{{ .path }}}
    {{- end }}
    {{- end }}
    {{- range $name, $value := $given }}
    {{- if has $name $known }}
    - {name: {{ $name }}, value: {{ $value | quote }}}
    {{- end }}
    {{- end }}
  ports:
    - {name: {{ .service }}, containerPort: {{ $port }}}
    {{- range $name, $number := .ports }}
    - {name: {{ $name }}, containerPort: {{ $number }}}
    {{- end }}
  # The process runs: whatever else is away, being started again would not bring it back.
  startupProbe:
    httpGet: {path: /healthz, port: {{ $port }}}
    periodSeconds: 5
    timeoutSeconds: 5
    failureThreshold: 120
  livenessProbe:
    httpGet: {path: /healthz, port: {{ $port }}}
    periodSeconds: 20
    timeoutSeconds: 10
    failureThreshold: 6
  {{- if .ready }}
  readinessProbe:
    httpGet: {path: /readyz, port: {{ $port }}}
    periodSeconds: 10
    timeoutSeconds: 8
    failureThreshold: 3
  {{- end }}
  resources: {{ toYaml $values.resources | nindent 4 }}
  {{ include "roadvault.containerSecurity" $root | nindent 2 | trim }}
  volumeMounts:
    - {name: tmp-{{ .service }}, mountPath: /tmp}
    - {name: secrets-{{ .service }}, mountPath: /run/secrets, readOnly: true}
    {{- with .mounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* More than notice, drain and the five seconds after which what hangs leaves by force. */}}
{{- define "roadvault.grace" -}}
{{ add .Values.noticeSeconds .Values.drainSeconds 15 }}
{{- end }}

{{/* A Kubo of {root, service, path, args, env, resources}. */}}
{{- define "roadvault.kubo" -}}
- name: {{ .service }}
  image: {{ .root.Values.kuboImage }}
  args: {{ .args | toJson }}
  env:
    - {name: IPFS_PATH, value: {{ .path }}}
    - {name: IPFS_TELEMETRY, value: "off"}
    {{- range $name, $value := .env }}
    - {name: ROADVAULT_{{ $name }}, value: {{ $value | quote }}}
    {{- end }}
    {{- range (include "roadvault.files" . | fromYaml).files }}
    - {name: ROADVAULT_IPFS_RPC_TOKEN_FILE, value: /run/secrets/{{ .path }}}
    {{- $probe := printf "ipfs --api /ip4/127.0.0.1/tcp/5001 --api-auth \"bearer:$(cat /run/secrets/%s)\" id" .path }}
  # A repository that is migrated takes its time; what is asked is the node alone, and not the network.
  startupProbe:
    exec: {command: [sh, -c, {{ $probe | quote }}]}
    periodSeconds: 10
    timeoutSeconds: 10
    failureThreshold: 360
  livenessProbe:
    exec: {command: [sh, -c, {{ $probe | quote }}]}
    periodSeconds: 30
    timeoutSeconds: 20
    failureThreshold: 10
    {{- end }}
  resources: {{ toYaml .resources | nindent 4 }}
  {{ include "roadvault.containerSecurity" .root | nindent 2 | trim }}
{{- end }}
