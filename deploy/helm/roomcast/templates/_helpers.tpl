{{- /* Arguments of most templates: dict "root" $ "component" "gateway". */ -}}
{{- define "roomcast.selector" -}}
app.kubernetes.io/name: roomcast
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "roomcast.labels" -}}
{{ include "roomcast.selector" . }}
app.kubernetes.io/part-of: roomcast
{{- end }}

{{- define "roomcast.image" -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag }}
{{- end -}}
{{- end }}

{{- define "roomcast.publicHost" -}}
{{- regexReplaceAll ":[0-9]+$" (urlParse .Values.publicUrl).host "" -}}
{{- end }}

{{- define "roomcast.podSecurity" -}}
automountServiceAccountToken: false
# Variables of services, such as REDIS_PORT=tcp://…, would replace settings.
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.pod }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "roomcast.container" -}}
image: {{ include "roomcast.image" (dict "repository" .Values.image.repository "digest" .Values.image.digest "tag" (default .Chart.AppVersion .Values.image.tag)) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- /* Files of the Secret: dict "root" $ "keys" (list …). */ -}}
{{- define "roomcast.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
- name: secrets
  secret:
    secretName: {{ .root.Values.secret.name }}
    defaultMode: 0440
    items:
      {{- range .keys }}
      - key: {{ . }}
        path: {{ . }}
      {{- end }}
{{- end }}

{{- define "roomcast.mounts" -}}
- name: tmp
  mountPath: /tmp
- name: secrets
  mountPath: /run/secrets/roomcast
  readOnly: true
{{- end }}

{{- /* Files of API and worker, as variable: key. */ -}}
{{- define "roomcast.serviceFiles" -}}
{{- $files := deepCopy .Values.secret.modelFiles -}}
{{- with .Values.files.googleKey }}{{ $_ := set $files "GOOGLE_APPLICATION_CREDENTIALS" . }}{{ end -}}
{{- with .Values.push.vapidKey }}{{ $_ := set $files "ROOMCAST_VAPID_KEY_FILE" . }}{{ end -}}
{{- with .Values.moderation.secretKey }}{{ $_ := set $files "ROOMCAST_MODERATION_SECRET_FILE" . }}{{ end -}}
{{- toYaml $files -}}
{{- end }}

{{- /* Variables of API and worker that are no secrets. */ -}}
{{- define "roomcast.features" -}}
{{- $answers := ternary .Values.moderation.answers "" (not (empty .Values.moderation.hook)) -}}
{{- $variables := dict
  "ROOMCAST_FILES_URL" .Values.files.url
  "ROOMCAST_VAPID_SUBJECT" .Values.push.subject
  "ROOMCAST_MODERATION" .Values.moderation.hook
  "ROOMCAST_MODERATION_ANSWERS" $answers
  "ROOMCAST_WEBHOOK_NETWORKS" (join "," .Values.webhooks.networks)
-}}
{{- range $name, $value := $variables }}
{{- if $value }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* A Deployment: dict "root" $ "component" … "values" … "ports" (name: number) "files" (variable: key) "env" … "autoscaled" "features" (whether it has files, pushes, webhooks and moderation). */ -}}
{{- define "roomcast.deployment" -}}
{{- $root := .root -}}
{{- with $root.Values.secret.caKey }}{{ $_ := set $.files "SSL_CERT_FILE" . }}{{ end -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $root.Release.Name }}-{{ .component }}
  labels:
    {{- include "roomcast.labels" . | nindent 4 }}
spec:
  {{- if not .autoscaled }}
  replicas: {{ .values.replicas }}
  {{- else }}
  {{- /* Without the number, an upgrade that turns autoscaling on would leave one pod. */}}
  {{- with lookup "apps/v1" "Deployment" $root.Release.Namespace (printf "%s-%s" $root.Release.Name .component) }}
  replicas: {{ .spec.replicas }}
  {{- end }}
  {{- end }}
  minReadySeconds: 5
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
  selector:
    matchLabels:
      {{- include "roomcast.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "roomcast.labels" . | nindent 8 }}
      annotations:
        # A changed ConfigMap replaces the pods.
        roomcast/config: {{ include "roomcast.config" $root | sha256sum | trunc 16 | quote }}
    spec:
      {{- include "roomcast.podSecurity" $root | nindent 6 }}
      terminationGracePeriodSeconds: {{ $root.Values.shutdown.graceSeconds }}
      topologySpreadConstraints:
        {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - topologyKey: {{ . }}
          maxSkew: 1
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "roomcast.selector" $ | nindent 14 }}
          matchLabelKeys: [pod-template-hash]
        {{- end }}
      containers:
        - name: {{ .component }}
          {{- include "roomcast.container" $root | nindent 10 }}
          args: [{{ .component }}]
          envFrom:
            - configMapRef:
                name: {{ $root.Release.Name }}
          env:
            # The address that the other gateways use.
            - name: ROOMCAST_INTERNAL_HOST
              valueFrom:
                fieldRef:
                  fieldPath: status.podIP
            {{- range $name, $key := .files }}
            - name: {{ $name }}
              value: /run/secrets/roomcast/{{ $key }}
            {{- end }}
            {{- range $name, $value := .env }}
            - name: {{ $name }}
              value: {{ $value | quote }}
            {{- end }}
            {{- if .features }}
            {{- with include "roomcast.features" $root | trim }}
            {{- . | nindent 12 }}
            {{- end }}
            {{- /* The libraries of the buckets read no files. */}}
            {{- range $name, $key := $root.Values.files.credentials }}
            - name: {{ $name }}
              valueFrom:
                secretKeyRef: {name: {{ $root.Values.secret.name }}, key: {{ $key }}}
            {{- end }}
            {{- end }}
          ports:
            {{- range $name, $port := .ports }}
            - name: {{ $name }}
              containerPort: {{ $port }}
            {{- end }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          # The internal address accepts every Host header. 2 minutes are enough for a slow start.
          startupProbe:
            httpGet: {path: /live, port: internal}
            periodSeconds: 2
            failureThreshold: 60
          livenessProbe:
            httpGet: {path: /live, port: internal}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /ready, port: internal}
            periodSeconds: 5
            timeoutSeconds: 3
            failureThreshold: 2
          lifecycle:
            preStop:
              # Load balancers learn meanwhile that the pod ends.
              sleep:
                seconds: {{ $root.Values.shutdown.preStopSeconds }}
          volumeMounts:
            {{- include "roomcast.mounts" . | nindent 12 }}
            {{- if and .features $root.Values.files.claim }}
            - name: files
              mountPath: /files
            {{- end }}
      volumes:
        {{- include "roomcast.volumes" (dict "root" $root "keys" (values .files | uniq | sortAlpha)) | nindent 8 }}
        {{- if and .features $root.Values.files.claim }}
        - name: files
          persistentVolumeClaim:
            claimName: {{ $root.Values.files.claim }}
        {{- end }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $root.Release.Name }}-{{ .component }}
  labels:
    {{- include "roomcast.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  # A pod that is not ready must not block the drain of a node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "roomcast.selector" . | nindent 6 }}
{{- end }}

{{- /* A Service: dict "root" $ "component" … "ports" (name: number). */ -}}
{{- define "roomcast.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .root.Release.Name }}-{{ .component }}
  labels:
    {{- include "roomcast.labels" . | nindent 4 }}
spec:
  type: ClusterIP
  selector:
    {{- include "roomcast.selector" . | nindent 4 }}
  ports:
    {{- range $name, $port := .ports }}
    - name: {{ $name }}
      port: {{ $port }}
      targetPort: {{ $name }}
    {{- end }}
{{- end }}

{{- define "roomcast.config" -}}
{{- $own := dict
  "PORT" "3001"
  "API_PORT" "3000"
  "ROOMCAST_INTERNAL_PORT" "3002"
  "API_URL" (printf "http://%s-api:3002" .Release.Name)
  "GATEWAY_URL" .Values.publicUrl
  "ALLOWED_ORIGINS" .Values.publicUrl
  "ROOMCAST_UNREADY_S" .Values.shutdown.unreadySeconds
  "ROOMCAST_DRAIN_S" .Values.shutdown.drainSeconds
-}}
{{- with .Values.basePath }}{{ $_ := set $own "ROOMCAST_BASE_PATH" . }}{{ end }}
{{- range $name, $value := merge (dict) .Values.config $own }}
{{ $name }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}
